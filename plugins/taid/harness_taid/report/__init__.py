"""A page of pictures of distillations: t, losses, validation, and fidelity.

    harness taid report STUDENT… [--results RESULTS] --out FILE.html

``reading`` finds the students and their figures, ``pictures`` draws them, ``page`` writes one HTML
page that needs nothing but itself.
"""

from __future__ import annotations
