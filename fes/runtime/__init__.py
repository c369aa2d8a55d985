"""What a run runs on: processes that know of each other, devices, precision. Only this package knows
accelerate, DeepSpeed and torch.distributed."""
