"""Examinations of many programs, some at a time, and what they come to."""
