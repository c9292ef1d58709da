"""Coordinators: state machines over internal topics. runtime.py alone appends, loads and parks."""
