"""Everything that makes the tiny FLUX.2 model: pictures, captions, networks, training, export."""
