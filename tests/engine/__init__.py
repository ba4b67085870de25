"""What every engine must do, seen through its interface and through the delivery of messages."""
