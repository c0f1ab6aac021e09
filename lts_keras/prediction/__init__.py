"""From a photo and expressions to answers in the photo's own pixels."""
