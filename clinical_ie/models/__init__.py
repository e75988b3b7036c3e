"""Networks (torch modules): encoders, decoders, heads, CRF, losses. They never see documents."""

import logging

# PEFT imports bitsandbytes wherever it is installed, which warns that a CPU could have faster 4-bit kernels, whatever the run is.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "kernels-community" not in str(record.msg))
