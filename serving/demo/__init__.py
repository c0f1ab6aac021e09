"""The web page: a photo and sentences in, masks as layers over the photo out; asks any server over gRPC."""
