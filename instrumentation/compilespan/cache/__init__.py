"""The compile cache of a fleet: what one replica compiled is fetched by the others.

`SharedCache` fetches before the first compile and publishes what was built. torch's own artefacts
(``save_cache_artifacts``) hold no compiled C++, so whole entries of its cache directories travel.
"""
