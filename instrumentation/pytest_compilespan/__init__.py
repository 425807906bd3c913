"""A pytest plugin: a test says what it lets torch compile, and fails if that is exceeded.

    @pytest.mark.compilespan(compiles=2, graph_breaks=0, recompiles=0)
    def test_serving_shapes(compile_ledger):
        serve(warmup_batch)
        with compile_ledger.expect(compiles=0):
            serve(batch)

``--compilespan`` prints what each test compiled; ``--compilespan-max-seconds`` bounds the session.
"""
