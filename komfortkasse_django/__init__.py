"""Tells Komfortkasse when a Django shop's orders are gone."""

__version__ = "0.1.0"
