<?php // Answers at once, on /.../slow after 3 s.
if (str_ends_with($_SERVER['REQUEST_URI'], '/slow')) {
    sleep(3);
}
echo "done\n";
