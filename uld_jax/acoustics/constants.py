"""Constants of sound and sampling."""

SPEED_OF_SOUND = 343.0  # Meters per second, in air at 20 degrees Celsius.
SAMPLE_RATE = 16_000  # Hertz, of all signals.
