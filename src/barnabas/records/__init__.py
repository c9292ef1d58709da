"""Record batches: header view, checksum, walk, compression. Batches stay bytes; records become objects only in tools."""
