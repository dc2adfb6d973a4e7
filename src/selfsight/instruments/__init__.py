"""What the doctor's checks look with: pure tools that hold a program still, listen to it and replace parts of it."""
