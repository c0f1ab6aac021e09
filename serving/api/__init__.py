"""What requests mean: a request message in, a response message out, without any transport."""
