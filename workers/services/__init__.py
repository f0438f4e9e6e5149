"""Services on a worker: their servers, run as the control plane orders, and the ways by which requests come to them."""
