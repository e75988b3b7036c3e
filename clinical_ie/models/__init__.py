"""Networks (torch modules): encoders, decoders, heads, CRF, losses. They never see documents."""
