"""Any lm-eval model as judge, writer or oracle: specification, batches, durable store."""
