"""How well each input alone tells the label: one that tells nearly all of it is a leak."""

from __future__ import annotations
