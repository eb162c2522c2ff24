# Answers at once, on /.../slow after 3 s.
run lambda { |env|
  sleep 3 if env['PATH_INFO'].end_with?('/slow')
  [200, { 'content-type' => 'text/plain' }, ["done\n"]]
}
