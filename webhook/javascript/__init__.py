"""The JavaScript module for web pages of apps: ``/yurt.js``."""
