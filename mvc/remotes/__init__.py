"""Objects from one store to another, as the records that they are."""
