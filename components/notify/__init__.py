"""Notices: someone hears how a run ended, and who is the champion."""
