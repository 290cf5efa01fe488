"""What one turns and clicks: the viewer in a browser, a window or a notebook."""
