data_dir = "/opt/nomad"
server {
  enabled = true
  bootstrap_expect = 3
  retry_join = ["%%SERVER_1%%", "%%SERVER_2%%"]
}
