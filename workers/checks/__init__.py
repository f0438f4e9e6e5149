"""Checks of pictures by models: loads an image classifier in ONNX, scores a picture's labels, and judges them.

A model is a folder as Hugging Face lays it out: ``model.onnx`` (or ``onnx/model.onnx``), ``config.json`` with the names
of the labels, and ``preprocessor_config.json`` with what to do to a picture before the model sees it.
"""
