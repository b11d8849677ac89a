"""Tests below import what they share, ``judged_tasks`` and ``faulty_server``, from this folder."""
