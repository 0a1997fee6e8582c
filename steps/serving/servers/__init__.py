"""The servers, one module each; `table` lists them."""
