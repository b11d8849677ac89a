"""What models wrote, to be read: static pages made of lm-eval's ``samples_*.jsonl``.

``lines`` reads files, ``samples`` what a line says, ``hiding`` takes texts out, ``facts`` finds
what a page filters by, ``drawing`` what traces draw on texts, ``documents`` brings runs together,
``shards``, ``writing`` and ``folder`` write, ``serving`` serves.
"""

from __future__ import annotations

from harness.view.folder import Written, key_of, write_view
from harness.view.serving import check_port, serve

__all__ = ["Written", "check_port", "key_of", "serve", "write_view"]
