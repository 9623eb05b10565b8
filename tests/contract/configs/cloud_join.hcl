data_dir = "/opt/nomad"
server {
  enabled = true
  bootstrap_expect = 3
  server_join {
    retry_join = ["provider=aws tag_key=nomad tag_value=server secret_access_key=hush"]
  }
}
