"""Dictionaries from elsewhere, and to elsewhere.

    axbench   weight.pt, bias.pt, metadata.jsonl, acts.json, as published      published.py
    lm-eval   the .pt steer file of lm-eval's own model ``steered``            steer_file.py
    repeng    a GGUF control vector, as repeng and llama.cpp write it          control_vector.py

Vectors are kept as published, neither scaled nor turned. ``.pt`` files are loaded with
``weights_only=True``; one that holds code is refused. What an import makes is a dictionary like a
trained one, and an equal one that is already there is kept.
"""
