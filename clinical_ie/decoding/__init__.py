"""Generation: constrained and speculative decoding, continuous batching, KV cache with a shared prefix, variable-length attention."""
