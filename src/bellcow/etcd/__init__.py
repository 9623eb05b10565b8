"""The only place that knows etcd's words: its calls, its process and the guard over it."""
