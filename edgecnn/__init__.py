"""edgecnn: a CNN from photographs, a checkpoint or an ONNX file to a proven TensorRT deployment.

Importing the package loads nothing but the standard library; the work is in the subpackages (``edgecnn.core``,
``edgecnn.graph``, ``edgecnn.quantize``, ``edgecnn.backends``, ``edgecnn.runtime``, ``edgecnn.profiling``, ...).
"""

__version__ = "0.1.0"
