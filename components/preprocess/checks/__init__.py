"""What is checked about the splits before anything is trained."""
