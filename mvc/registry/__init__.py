"""What is known of versions beyond their bytes: the card that says what a version is."""
