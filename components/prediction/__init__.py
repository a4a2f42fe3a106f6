"""The prediction pipeline's steps: the window's rows, compared and answered by the champion."""
