"""Speed of training steps and of localization."""
