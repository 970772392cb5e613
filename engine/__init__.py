"""The picture engine: prompt safety, cache, pipelines, image safety, watermark, provenance."""
