"""Speed and accuracy of the room simulator."""
