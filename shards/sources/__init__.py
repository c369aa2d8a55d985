"""One reader per data set, as users have it: each makes a `Source` of files."""
