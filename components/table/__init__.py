"""Reading any table: files, ranges, and typed blocks of rows."""
