"""What happens around training: evaluation, files, throughput, interruption."""
