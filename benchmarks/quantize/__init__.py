"""Several tools quantize the same networks on the same pictures, and one evaluator judges all of them."""
