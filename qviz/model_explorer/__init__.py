"""An extension of Google's Model Explorer: the error of each operator as node data, and the pairing of two models.

    pip install ai-edge-model-explorer
    model-explorer --extensions=qviz.model_explorer float32.tflite int8.tflite

Model Explorer loads `main` and offers it under *Add per-node data* for the model in view, which is the variant.
"""
