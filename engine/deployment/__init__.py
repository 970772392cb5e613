"""What the two classes of the Modal app do, without Modal: pixels beside a GPU, and everything else without one.

`GeneratorService` draws batches. `EngineService` checks, looks up, marks and stores, and asks a generator only for what
the cache doesn't hold. Both answer in the language of `engine.wire` and don't raise: an error that ended a container
would be met by the next one, and that without end.
"""
