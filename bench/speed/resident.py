"""What this process has had resident at most, in MiB: since it began, since `forget` was called, and when `bare` was, with its libraries alone. As worker.ts reads it."""
import pathlib
import re

begun = without = 0.0


def peak():
    return int(re.search(r'VmHWM:\s+(\d+)', pathlib.Path('/proc/self/status').read_text())[1]) / 1024


def bare():
    global without
    without = without or peak()


def forget():
    global begun
    begun = max(begun, peak())
    pathlib.Path('/proc/self/clear_refs').write_text('5')


def memory():
    return {'peakMiB': max(begun, peak()), 'stepsMiB': peak(), 'bareMiB': without}
