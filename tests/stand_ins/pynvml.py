"""A stand-in for pynvml (nvidia-ml-py): two GPUs, the second without a power sensor. Set ``BROKEN`` for no driver."""

from types import SimpleNamespace

NVML_CLOCK_GRAPHICS = 0
NVML_CLOCK_MEM = 2
NVML_TEMPERATURE_GPU = 0
BROKEN = False
opened = 0


class NVMLError(Exception):
    pass


def nvmlInit():
    global opened
    if BROKEN:
        raise NVMLError("Driver Not Loaded")
    opened += 1


def nvmlShutdown():
    global opened
    opened -= 1


def nvmlDeviceGetCount():
    return 2


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetUtilizationRates(device):
    return SimpleNamespace(gpu=87, memory=31)


def nvmlDeviceGetMemoryInfo(device):
    return SimpleNamespace(total=8 << 30, free=7 << 30, used=1 << 30)


def nvmlDeviceGetClockInfo(device, kind):
    return {NVML_CLOCK_GRAPHICS: 1755, NVML_CLOCK_MEM: 7000}[kind]


def nvmlDeviceGetTemperature(device, sensor):
    return 61 + device


def nvmlDeviceGetPowerUsage(device):
    if device:
        raise NVMLError("Not Supported")
    return 120500


def nvmlDeviceGetCurrentClocksThrottleReasons(device):
    return 0x4
