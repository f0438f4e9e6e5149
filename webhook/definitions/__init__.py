"""What is defined: owners' sets of pipelines, pools and models, checked together, and the view that all parts read."""
