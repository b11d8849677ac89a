"""Inside vLLM: what plugins add to its front and to its workers, and all that this needs of vLLM.

vLLM finds ``plugin.register`` through its entry-point group ``vllm.general_plugins`` and runs it in
every process of an engine. It does nothing for an engine whose ``additional_config`` has no entry
``paperharness``.
"""
