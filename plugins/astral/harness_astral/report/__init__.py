"""A folder that a safety team can hand on: one page, and its tables as CSV files.

    harness astral report RESULTS… --suite SUITE --against BASELINE --out FOLDER

``reading`` reads lm-eval's samples, ``tables`` counts, ``pictures`` draws, ``page`` makes the HTML
page, ``folder`` writes it all. Without ``--show-text`` no prompt, no output and no words of a judge
leave ``reading``: what the other rooms are given does not hold them.
"""
